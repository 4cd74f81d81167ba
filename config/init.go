package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Init returns a configuration file for a machine with these default routes:
// valid, commented, and equal in meaning to what `uplinks: auto` makes of them
// now. Without any route it says `uplinks: auto`.
func Init(routes []DefaultRoute) []byte {
	uplinks := Default().Auto(routes)
	var b strings.Builder
	b.WriteString(initHead)
	switch len(uplinks) {
	case 0:
		b.WriteString("\n# This machine has no default route now. Every interface that gets one becomes\n" +
			"# an uplink, in the order of their metrics.\nuplinks: auto\n")
	default:
		b.WriteString("\n# The order is the order of preference.\nuplinks:\n")
		for _, u := range uplinks {
			writeUplink(&b, u)
		}
	}
	if len(uplinks) == 1 {
		b.WriteString(initSecond)
	}
	b.WriteString(initTail)
	return []byte(b.String())
}

func writeUplink(b *strings.Builder, u Uplink) {
	fmt.Fprintf(b, "  - name: %s\n    interface: %s\n", quoteYAML(u.Name), quoteYAML(u.Interface))
	if u.IsMetered() {
		b.WriteString("    metered: true               # probed each 30s only, while it carries nothing\n")
	}
}

const initHead = `# Swerve's configuration, made by swerve init for this machine.
# Check it with: swerve check
`

const initSecond = `  # One uplink has nowhere to fail over to. Name a second:
  # - name: lte
  #   interface: wwan0
`

const initTail = `
# What follows is the default of each, to be changed where it does not fit.
# probe:
#   targets: [1.1.1.1, 8.8.8.8, 9.9.9.9, "2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe"]
#   interval: 1s
#   standby_interval: 30s         # for metered uplinks that carry nothing
# health:
#   patience: 500ms               # silence before sessions are moved
#   loss: {degraded: 20%, clear: 5%}
# failback:
#   mode: auto                    # or manual: the return is yours
#   after: 30s                    # good for so long
`

// plainYAML matches what needs no quotes in YAML, if it is no word of YAML's own.
var plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// quoteYAML writes a text so that every YAML reader takes it as one.
func quoteYAML(s string) string {
	_, isWord := booleans[strings.ToLower(s)]
	if plainYAML.MatchString(s) && !isWord && !isShortWord(s) {
		return s
	}
	return strconv.Quote(s)
}

// isShortWord reports whether YAML 1.1 or 1.2 read the word as something else
// than text, beside the booleans.
func isShortWord(s string) bool {
	switch strings.ToLower(s) {
	case "null", "y", "n", "nan", "inf":
		return true
	}
	return false
}
