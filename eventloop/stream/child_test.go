//go:build unix

package stream_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// childEnv makes the test binary run one function of childModes, in a process of
// its own.
const childEnv = "STREAM_TEST_CHILD"

var childModes = map[string]func() error{
	"inherit":      inheritInChild,
	"exec inherit": execInherit,
}

// childCommand returns a command that runs a function of childModes.
func childCommand(t testing.TB, mode string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*testTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(append(os.Environ(), childEnv+"="+mode), env...)
	return cmd
}
