package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"swerve/config"
	"swerve/failover"
)

// sysClassNet is where the kernel describes network interfaces.
const sysClassNet = "/sys/class/net"

// modemDrivers are drivers that serve only modems. Others, such as cdc_ether and
// cdc_ncm, also serve Ethernet adapters on USB, and are no evidence.
var modemDrivers = []string{"cdc_mbim", "qmi_wwan", "huawei_cdc_ncm", "option", "sierra_net"}

// IsModem reports whether an interface is that of a modem, by its name, its type
// (DEVTYPE=wwan) or its driver. An interface that does not exist is judged by its
// name alone.
func IsModem(device string) bool { return isModem(sysClassNet, device) }

func isModem(class, device string) bool {
	if config.NamedModem(device) {
		return true
	}
	if device == "" || strings.ContainsAny(device, "/") || device == "." || device == ".." {
		return false
	}
	folder := filepath.Join(class, device)
	described, _ := os.ReadFile(filepath.Join(folder, "uevent")) // if it cannot be read, nothing is known
	if slices.Contains(strings.Fields(string(described)), "DEVTYPE=wwan") {
		return true
	}
	driver, _ := os.Readlink(filepath.Join(folder, "device", "driver"))
	return slices.Contains(modemDrivers, filepath.Base(driver))
}

// markModems notes which of the uplinks are modems. links are the uplinks' links,
// by name.
func (s *setup) markModems(is func(device string) bool, links map[string]failover.Link) {
	s.uplinks, s.candidates = slices.Clone(s.uplinks), slices.Clone(s.candidates)
	metered := map[string]bool{}
	for _, list := range [][]config.Uplink{s.uplinks, s.candidates} {
		for i := range list {
			u := &list[i]
			u.Modem = u.Metered == config.MeteredAuto && is != nil &&
				(is(links[u.Name].Interface) || is(configuredName(*u)))
			metered[u.Name] = u.IsMetered()
		}
	}
	for i := range s.engine.Uplinks {
		s.engine.Uplinks[i].Metered = metered[s.engine.Uplinks[i].Name]
	}
}

// findModems reconfigures if an interface that appeared is of another kind than the
// configuration was prepared for.
func (l *loop) findModems() {
	if !l.arrived {
		return
	}
	l.arrived = false
	for _, u := range slices.Concat(l.setup.uplinks, l.setup.candidates) {
		if device := l.picture.links[u.Name].Interface; u.Metered == config.MeteredAuto && device != "" &&
			l.isModem != nil && u.Modem != (l.isModem(device) || l.isModem(configuredName(u))) {
			l.reconfigure("take note of a modem")
			return
		}
	}
}
