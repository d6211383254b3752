"""What a kernel is made of and where its time goes."""
