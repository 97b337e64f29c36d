"""What peers say to each other: message classes, their layouts, and the codec."""
