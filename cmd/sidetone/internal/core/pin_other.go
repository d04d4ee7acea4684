//go:build !linux

package core

const canPin = false

func pinThread(...int) (undo func(), err error) { return func() {}, nil }

func pinProcess(...int) error { return nil }
