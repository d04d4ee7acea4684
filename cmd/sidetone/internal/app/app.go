// Package app wires Sidetone: it turns the configuration into engines and
// adapters, runs a goroutine per leg, and starts and stops everything in order.
package app
