package main

// Stamped by the release build.
var (
	version = "dev"
	commit  = ""
	date    = ""
)
