package checkup

import "syscall"

// unsynced is the kernel's flag of a clock that nothing keeps in step
// (adjtimex(2), STA_UNSYNC).
const unsynced = 0x40

// kernelSynced says whether the kernel believes that its clock is kept in step.
func kernelSynced() (synced, known bool) {
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		return false, false
	}
	return t.Status&unsynced == 0, true
}
