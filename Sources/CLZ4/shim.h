// The block interface of liblz4, the only external code the embedded product links.
#include <lz4.h>
#include <lz4hc.h>
