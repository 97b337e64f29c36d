import pytest

from tests.unit.node.fakes import DRIVER, JOB, job, peer
from zgen_node.core.jobs import Job, Jobs


def a_job() -> Job:
    return Job(JOB, DRIVER, 1, 77, 0, prestart_count=2)


def test_a_job_is_found_by_name_and_by_driver_until_it_ends() -> None:
    jobs = Jobs()
    record = a_job()
    jobs.add(record)
    jobs.check()
    assert jobs.get(JOB) is record
    assert jobs.of_driver(DRIVER) is record
    assert list(jobs) == [record]
    jobs.end(JOB)
    assert jobs.get(JOB) is None
    assert jobs.of_driver(DRIVER) is None
    jobs.check()


def test_a_driver_has_one_job() -> None:
    jobs = Jobs()
    jobs.add(a_job())
    with pytest.raises(AssertionError):
        jobs.add(Job(job("other"), DRIVER, 1, 77, 0, 0))
    with pytest.raises(AssertionError):
        jobs.add(Job(JOB, peer("other"), 1, 77, 0, 0))


def test_workers_that_fail_together_are_one_failure() -> None:
    record = a_job()
    for index in (1, 2, 3):
        record.note_failed_start(index, 3, f"died {index}")
    assert record.failed_starts == 1
    assert record.failure == "died 3"
    assert not record.starts_fail


def test_three_rounds_of_failures_are_too_many() -> None:
    record = a_job()
    for index in (1, 2, 3):
        record.note_failed_start(index, index, f"died {index}")
    assert record.starts_fail
    assert record.refusal() == "workers of this job do not start, 3 failed in a row: died 3"


def test_a_start_that_succeeds_forgives_the_failures() -> None:
    record = a_job()
    record.note_failed_start(1, 1, "died")
    record.note_failed_start(2, 2, "died")
    record.note_started()
    record.note_failed_start(4, 4, "died")
    assert record.failed_starts == 1
