"""Say what more images would bring."""
