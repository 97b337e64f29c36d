"""Names that Ray has in ``ray.util``."""
