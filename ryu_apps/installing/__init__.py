"""How entries get to switches and stay there; ryu_apps.installer is the app that this runs in."""
