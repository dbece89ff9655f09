// Products with float weights.
#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(, F32)

}  // namespace headway
