//go:build !unix

package recording

import "os"

// lock does nothing where files cannot be locked: a folder is one server's there.
func lock(*os.File) error { return nil }
