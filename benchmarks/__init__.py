"""What the project claims of speed and of bytes on hardware, each a command that prints it and writes JSON."""
