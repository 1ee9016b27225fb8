"""What the switches count and how it is read; ryu_apps.telemetry is the app that this runs in."""
