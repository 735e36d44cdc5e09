package main

import "os"

// onHangup does nothing: Windows has no such signal.
func onHangup() (signals <-chan os.Signal, stop func()) { return nil, func() {} }
