//go:build !unix

package benchasr

import "time"

// processorTime is not known here, and shows as 0.
func processorTime() time.Duration { return 0 }
