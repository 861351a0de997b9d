"""Search: a space of settings -> trials, each an ordinary run -> the best settings."""
