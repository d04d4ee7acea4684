package app

import (
	"net/http"

	"sidetone/internal/journal/stream"
)

// nodesReply is the answer to GET /v1/nodes.
type nodesReply struct {
	// Self is the server that answers.
	Self  string        `json:"self"`
	Nodes []stream.Node `json:"nodes"`
}

// announce tells the other servers where this one is and whether it takes calls.
func (a *App) announce() {
	a.storage.journal.Announce(stream.NodeInfo{URL: a.URL(), Draining: a.admission.drains()})
}

// getNodes lists the servers that share the journal and live.
func (a *App) getNodes(w http.ResponseWriter, r *http.Request) {
	nodes, err := a.storage.journal.Nodes(r.Context())
	if err != nil {
		writeError(w, &apiError{Status: http.StatusServiceUnavailable, Text: "the other servers are not known now: " + err.Error()})
		return
	}
	if nodes == nil {
		nodes = []stream.Node{}
	}
	writeJSON(w, http.StatusOK, nodesReply{a.storage.node, nodes})
}
