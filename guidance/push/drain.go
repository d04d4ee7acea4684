package push

// Draining tells every pane, and those that come, that the server takes no new
// calls because it is about to stop, or that it takes them again. Calls go on.
func (h *Hub) Draining(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining == on {
		return
	}
	h.draining = on
	for _, r := range h.rooms {
		for p := range r.panes {
			p.send(drainChanged{"draining", on})
		}
	}
}
