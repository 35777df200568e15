package eventloop

import "os"

func isCatchable(sig os.Signal) bool { return sig != nil && sig != os.Kill }
