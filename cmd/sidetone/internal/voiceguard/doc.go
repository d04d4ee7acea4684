// Package voiceguard stands beside the comparison of voices in running calls: a Guard
// hears signs that a leg is a recording or made by a machine, Prints remembers what was
// heard before, a Lookout searches the watch list, and Known finds one voice under
// several names.
package voiceguard
