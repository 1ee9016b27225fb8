"""The life of stitches, a step a file; ryu_apps.stitcher is the app that they run in."""
