"""What the pool decides, pure: state and the time go in, decisions come out."""
