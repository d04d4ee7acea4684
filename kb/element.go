// Package kb holds the knowledge base: elements, each the smallest piece of
// knowledge that answers one question, and the index that finds them.
//
// It knows nothing of calls.
package kb

import "time"

// Element is one piece of knowledge in one language.
type Element struct {
	// ID is the same in every language and version.
	ID      string
	Version int
	// Language is an ISO 639-1 code.
	Language string
	Title    string
	// Customer is the wording for the customer's ear, Internal the wording for
	// the agent's eye.
	Customer string
	Internal string
	// Steps are what the agent does, in order.
	Steps []string
	// Questions are ways in which customers ask for it.
	Questions []string
	Product   string
	Intents   []string
	// Channels that may show it: agent, web, sms, chat.
	Channels []string
	// Audience limits who may see it; empty means everyone.
	Audience []string
	Owner    string
	Links    []string
	// ValidFrom and ValidTo bound its life; the zero time is no bound.
	ValidFrom, ValidTo time.Time
}
