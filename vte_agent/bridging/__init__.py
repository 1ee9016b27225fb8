"""Joins the site's bridge to those of other sites: VXLAN devices between anchors, plugged in as its ports."""
