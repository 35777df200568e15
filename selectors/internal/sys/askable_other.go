//go:build !linux

package sys

// EffectOfAsking returns what asking a file for readiness does. Files for which it
// does something are known on Linux only.
func EffectOfAsking(int) Effect { return AskingHasNone }
