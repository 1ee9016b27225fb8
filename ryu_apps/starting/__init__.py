"""What is settled before a controller runs: its settings, its process, its directory, its apps."""
