package stream

import (
	"os"
	"testing"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("SIDETONE_STREAM_CHILD"); role != "" {
		os.Exit(1)
	}
	leaktest.Main(m)
}
