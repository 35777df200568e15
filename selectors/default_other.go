//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !solaris

package selectors

// Only the portable backends, if there are any.
var nativeBackends []Backend
