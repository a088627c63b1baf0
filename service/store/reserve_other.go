//go:build !linux

package store

import (
	"errors"
	"os"
)

// allocate would have to write all of it here, at each first start.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }
