package benchvoice

import (
	"testing"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
