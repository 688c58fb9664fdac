"""What is read: images of axes ``(t, c, z, y, x)``, whatever file they come from."""
