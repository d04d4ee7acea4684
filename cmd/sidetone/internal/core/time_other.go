//go:build !unix

package core

import "time"

func processTime() time.Duration { return 0 }
