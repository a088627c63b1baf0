package cache

import "strings"

// touched tells whether a change of any of the paths may change an answer about path.
func touched(path string, changed []string) bool {
	for _, change := range changed {
		change = strings.TrimSuffix(change, "/")
		if path == change || strings.HasPrefix(path, change+"/") {
			return true
		}
		// A list shows its members, so a member's change is the list's; a list of lists does not show them.
		if slash := strings.LastIndexByte(change, '/'); slash > 0 && path == change[:slash] {
			return true
		}
	}
	return false
}
