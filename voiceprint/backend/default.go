package backend

import (
	"bytes"
	_ "embed"
	"fmt"
)

//go:embed default.json
var defaults []byte

// Default is the parameters that the program brings along: for CAM++ as campplus.Load
// makes it, made by `sidetone voice train`. Trained and Operating say of what.
func Default() (*Params, error) {
	p, err := Read(bytes.NewReader(defaults))
	if err != nil {
		return nil, fmt.Errorf("default.json: %w", err)
	}
	return p, nil
}
