// Package retailbank carries the knowledge base of a retail bank: what its
// agents say, know and do when customers call. It is content, written to be
// used as it is in a demonstration and as a model for one's own.
package retailbank

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Files are the elements' YAML files, for kb.Load.
func Files() fs.FS { return files }
