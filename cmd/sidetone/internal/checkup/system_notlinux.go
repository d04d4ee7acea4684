//go:build !linux

package checkup

func kernelSynced() (synced, known bool) { return false, false }
