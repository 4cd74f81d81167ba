package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"swerve/failover"
)

// Folders like those in /sys/class/net, one for each way to recognize a modem.
func TestIsModem(t *testing.T) {
	class := t.TempDir()
	for name, c := range map[string]struct {
		uevent, driver string
		want           bool
	}{
		"usb0":   {"INTERFACE=usb0\nIFINDEX=5\n", "cdc_mbim", true},
		"usb1":   {"INTERFACE=usb1\n", "qmi_wwan", true},
		"usb2":   {"", "huawei_cdc_ncm", true},
		"usb3":   {"", "sierra_net", true},
		"hso0":   {"", "option", true},
		"mhi0":   {"DEVTYPE=wwan\nINTERFACE=mhi0\n", "", true},
		"enx0":   {"INTERFACE=enx0\n", "cdc_ether", false},
		"enx1":   {"INTERFACE=enx1\n", "cdc_ncm", false},
		"enx2":   {"", "r8152", false},
		"rndis0": {"", "rndis_host", false},
		"wlan0":  {"DEVTYPE=wlan\n", "iwlwifi", false},
		"eth0":   {"DEVTYPE=wwanlike\n", "", false},
	} {
		folder := filepath.Join(class, name)
		if err := os.MkdirAll(filepath.Join(folder, "device"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "uevent"), []byte(c.uevent), 0o644); err != nil {
			t.Fatal(err)
		}
		if c.driver != "" {
			if err := os.Symlink("../../../../bus/usb/drivers/"+c.driver, filepath.Join(folder, "device", "driver")); err != nil {
				t.Fatal(err)
			}
		}
		if got := isModem(class, name); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for name, want := range map[string]bool{"wwan0": true, "wwp0s20u4": true, "wwx0123456789ab": true, "wlan9": false, "": false, "..": false, "../x": false} {
		if got := isModem(class, name); got != want {
			t.Errorf("%q, which does not exist: %t", name, got)
		}
	}
}

// The kind of an interface is determined when it appears, by its name at that time;
// a configured kind takes precedence.
func TestModemIsFoundAsItComes(t *testing.T) {
	inBubble(t, `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: stick, interface: eth1}
  - {name: other, interface: eth2, metered: false}
`, func(t *testing.T, r *rig) {
		modems := map[string]bool{"usb7": true, "eth2": true}
		r.modem = func(device string) bool { return modems[device] }
		link := r.net.lines["eth1"].link
		r.net.lines["eth1"].link = failover.Link{}
		r.start()
		r.after(3 * time.Second)
		if r.uplink("stick").Metered || r.uplink("other").Metered {
			t.Fatal("metered before it is there, or against the user's word")
		}
		link.Interface = "usb7"
		r.change("eth1", func(l *line) { l.link = link })
		r.after(3 * time.Second)
		if !r.uplink("stick").Metered || r.uplink("fiber").Metered || r.uplink("other").Metered {
			t.Error("the modem that came is not metered, or another is")
		}
		generation := r.status().Daemon.Generation
		r.change("eth1", func(l *line) { l.link.Carrier = false })
		r.change("eth1", func(l *line) { l.link.Carrier = true })
		r.after(3 * time.Second)
		if now := r.status().Daemon.Generation; now != generation {
			t.Errorf("configured %d times again for nothing", now-generation)
		}
	})
}
