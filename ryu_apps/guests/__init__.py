"""Apps of others, written for Ryu or os-ken, hosted beside ours with tables, cookies and failures of their own."""
