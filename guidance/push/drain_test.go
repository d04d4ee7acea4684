package push

import "testing"

// Panes hear that the server drains, those that come later too, and that it no
// longer does.
func TestDraining(t *testing.T) {
	h := newHub(t, Config{})
	dial := serve(t, h)
	first := dial("ann")
	first.open()
	h.Draining(true)
	h.Draining(true)
	first.want("draining")
	late := dial("bob")
	late.open()
	late.want("draining")
	h.Draining(false)
	late.want("draining")
	first.want("draining")
	start(t, h, "c1", "ann")
	first.want("call_started")
	last := dial("cy")
	last.open()
	start(t, h, "c2", "cy")
	if m := last.want("call_started"); m.Type != "call_started" {
		t.Errorf("a pane that comes when draining is over is told %+v", m)
	}
}
