"""What tests share: projects, commands, workers and servers, all of them real."""
