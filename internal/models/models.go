// Package models is the one list of the weights that Sidetone uses: names,
// licences, sizes, hashes and ways to get them, and the store that keeps them.
package models

import (
	"fmt"
	"os"
	"path/filepath"
)

// Store finds model files in a folder, one subfolder a model.
type Store struct{ dir string }

// Default is the store at SIDETONE_MODELS, or in the user's cache folder.
func Default() *Store {
	if d := os.Getenv("SIDETONE_MODELS"); d != "" {
		return &Store{dir: d}
	}
	c, err := os.UserCacheDir()
	if err != nil {
		c = os.TempDir()
	}
	return &Store{dir: filepath.Join(c, "sidetone", "models")}
}

// Path returns where a model's file lies.
func (s *Store) Path(name, file string) (string, error) {
	p := filepath.Join(s.dir, name, file)
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("model %s: %w (run `sidetone models pull %s`)", name, err, name)
	}
	return p, nil
}
