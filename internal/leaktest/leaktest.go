// Package leaktest makes a test binary fail when goroutines outlive its tests.
package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests and then checks for leaked goroutines; call it from
// TestMain.
func Main(m *testing.M) { goleak.VerifyTestMain(m) }
