package backend

import (
	"strings"
	"testing"

	"sidetone/voiceprint"
)

// What comes along is whole, is for the network there is, and vouches for what the
// default policy asks.
func TestDefault(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Info().Model; !strings.HasPrefix(m.ID, "campplus-zh-en-") || m.Dim != 192 {
		t.Errorf("for %+v", m)
	}
	if tr := p.Trained; tr.Space == "" || tr.Calibration == "" || len(tr.Date) != len("2006-01-02") {
		t.Errorf("trained on %+v", tr)
	}
	op, err := s.Threshold(voiceprint.DefaultPolicy().FAR)
	if err != nil || op.LLR <= 0 || op.FRR > 0.1 || p.Operating.Policy != voiceprint.DefaultPolicy() {
		t.Errorf("%+v, %v", op, err)
	}
}
