//go:build !linux && !darwin

package main

import "errors"

// diskRoom returns errors.ErrUnsupported where nobody taught it how this system tells.
func diskRoom(string) (free, all float64, err error) { return 0, 0, errors.ErrUnsupported }
