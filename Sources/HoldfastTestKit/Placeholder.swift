internal import HoldfastLog
