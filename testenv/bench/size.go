package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// architectures are those that Swerve is built for.
var architectures = []string{"amd64", "arm64", "arm", "riscv64"}

// sizes builds the stripped binary for each of them.
func (m *measurer) sizes(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "swerve-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for _, arch := range architectures {
		file := filepath.Join(folder, arch)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./cmd/swerve")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch, "GOARM=7")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build for %s: %w: %s", arch, err, out)
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		figure := &Figure{Group: "the binary, stripped", What: arch, Unit: "MiB", Floor: worstAtMost(15)}
		figure.add(float64(info.Size()) / (1 << 20))
		m.report.add(figure)
	}
	return nil
}
