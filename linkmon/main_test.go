package linkmon

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
	if kind := os.Getenv(loadEnv); kind != "" {
		os.Exit(loadMain(kind))
	}
	goleak.VerifyTestMain(m)
}
