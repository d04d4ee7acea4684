package playbook

import (
	"bytes"
	_ "embed"
	"fmt"

	"sidetone/guidance"
)

//go:embed retailbank.yaml
var retailBank []byte

// RetailBank is the playbook of a retail bank.
func RetailBank() (*guidance.Playbook, error) {
	p, err := Parse("retailbank.yaml", retailBank)
	if err != nil {
		return nil, fmt.Errorf("built-in playbook: %w", err)
	}
	return p, nil
}

// RetailBankYAML is its source, as a model for one's own.
func RetailBankYAML() []byte { return bytes.Clone(retailBank) }
